"""Make toybox from nothing: `python -m models.toybox.build`. Stages that are done are not done again."""

from models.toybox.recipe.build import main

if __name__ == "__main__":
    main()
