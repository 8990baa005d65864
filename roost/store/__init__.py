"""Storage shared by builds: the cache, leases, staging, manifests, garbage collection."""
