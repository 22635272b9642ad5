"""Stories from end to end, through real processes on real servers."""
