"""What experiments found: as data, as HTML, as Markdown, as plots; and the listening pages."""
