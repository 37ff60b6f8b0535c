"""The single cases of a finished run: answers, records, prompts and searches."""
