"""What a plugin author must know: records, answers, stages, components, hooks. Imports `errors` and nothing else."""
