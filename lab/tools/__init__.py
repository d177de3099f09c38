"""Programs that run inside a host of the lab: standard library only but for `watch`, which decodes."""
