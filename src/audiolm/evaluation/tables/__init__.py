"""One experiment for each table or metric of the paper; `registry` lists them."""
