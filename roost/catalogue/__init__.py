"""The catalogue as people see it: what is published, how it differs, the submit lines, as a web page."""
