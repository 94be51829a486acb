"""Ways of looking at an image: clean, corrupted, attacked."""
