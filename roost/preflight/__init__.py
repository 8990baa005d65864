"""What is wrong with a recipe and can be known before anything is built."""
