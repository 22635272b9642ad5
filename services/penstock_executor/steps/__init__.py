"""What all kinds of step share: how one is declared, what its action is called with, and what it hands back."""
