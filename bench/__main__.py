"""All benchmarks that run on a CPU: `make bench`. So far that is what toybox can do."""

from bench import toybox

if __name__ == "__main__":
    toybox.main()
