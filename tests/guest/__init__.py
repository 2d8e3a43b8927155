"""An emulated machine with a kernel of Debian's, for the slow test of cores and of live state."""
