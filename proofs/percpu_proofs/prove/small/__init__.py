"""Claims asked of every small case, and by symbols of CrossHair."""
