"""The image factory: the graph of work of many images, what runs it on this machine, what is told of it afterwards."""
