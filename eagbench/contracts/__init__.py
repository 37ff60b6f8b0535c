"""All that a plugin author needs to know: records, answers, stages, components, hooks. Imports only `errors`."""
