"""What is kept between builds: the cache, leases, staging, manifests, garbage collection."""
