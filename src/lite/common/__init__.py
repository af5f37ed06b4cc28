"""What the recipes of the three models share."""
