"""Things: tables, values, search and constraints, bulk, changes, files, import and export."""
