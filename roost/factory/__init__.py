"""The image factory: the graph of work for many images, its execution on this machine or DAGMan, and the reports."""
