"""The steps from a folder of recordings to a model, a file for each; `recipe.py` lists them."""
