"""What the API and DICOMweb ask of stored instances, within a principal's tenant and facilities."""
