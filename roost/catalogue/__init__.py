"""The catalogue as shown to users: published images, their differences, their submit lines, as a web site."""
