"""The steps behind each verb: a module per verb, readable from top to bottom."""
