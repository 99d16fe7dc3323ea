"""The content of the stored data sets.

Parsed in worker processes that may be killed, stored by Transaction 2 (design, "Cloud").

frame_offsets  the byte range of each frame           attributes      of study, series and instance
json_model     the DICOM JSON Model                   parse           one blob to one outcome
parser_process the process that parses (loads pydicom)  parser_pool   starts, times, kills workers
indexer        claims jobs, has them parsed and stores the outcomes
"""
