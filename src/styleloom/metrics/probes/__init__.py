"""What is measured of a generator itself, rather than of its images."""
