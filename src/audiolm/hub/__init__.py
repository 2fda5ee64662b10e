"""Models on the Hugging Face hub: fetched as `owner/name`, put there with a card.

What lies on the hub is the model folder as it is, with two files for the hub itself: `README.md`,
the card, and `config.json`, by which the hub counts downloads. Needs the extra `audiolm[hub]`.
"""

from audiolm.hub.card import Measured, card
from audiolm.hub.transfer import fetch, is_hub_name, push

__all__ = ["Measured", "card", "fetch", "is_hub_name", "push"]
