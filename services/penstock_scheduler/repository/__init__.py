"""The scheduler's SQL, by what it is about: runs that change hands, lists, notifications, and the upkeep of tables."""
