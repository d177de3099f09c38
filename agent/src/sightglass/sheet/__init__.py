"""A part of the record as a sheet for people: what happened, in words, as HTML. Pure."""
