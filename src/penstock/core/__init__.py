"""Pure semantics: values and `now` in, values and decisions out. No I/O, no clock, no SDK."""
