"""Our environment in the words of other frameworks; each module needs its extra."""
