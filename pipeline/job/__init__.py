"""A build: from the recipe to its plan, its workers, its store and its manifest."""
