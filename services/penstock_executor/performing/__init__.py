"""How one attempt of a run is performed: its steps, what it remembers, and how it ends."""
