"""Make toybox from nothing: `python -m models.toybox.build`, kept short; the recipe is in `models/toybox/recipe/`."""

from models.toybox.recipe.build import main

if __name__ == "__main__":
    main()
