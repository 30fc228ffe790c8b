"""`@traced`: one module for each kind of callable."""
