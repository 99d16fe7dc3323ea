"""What is in the stored data sets.

Read by worker processes that may be killed, kept by Transaction 2 (design, "Cloud").

walk        the structure: every length checked, nothing interpreted    frames   where each frame's bytes lie
attributes  what a study, a series and an instance say of themselves    parse    all of it: one blob, one outcome
worker      the process that parses (the one place that loads pydicom)  pool     starts, feeds, times and kills workers
indexer     claims jobs, has them parsed, settles them
"""
