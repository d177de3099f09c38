"""The shutter: the process that holds the kernel gate open and whose end closes it. Stdlib only, and no policy."""
