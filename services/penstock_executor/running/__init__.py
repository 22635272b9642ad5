"""How runs that were claimed are performed: each in a task of its own, or many brief ones in one."""
