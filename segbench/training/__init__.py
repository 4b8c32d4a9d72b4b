"""Running a task: the configuration, what a run leaves on disk, what a person sees meanwhile."""
