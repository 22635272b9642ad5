"""What this executor holds: claims and leases of runs, slots, threads, and the limits it knows."""
