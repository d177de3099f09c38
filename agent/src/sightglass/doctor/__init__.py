"""The doctor: what each part of a gateway is like, and what to do about it. Changes nothing."""
