"""What people upload, kind by kind: read record by record, refused at the first fault, summed up. Torch-free."""
