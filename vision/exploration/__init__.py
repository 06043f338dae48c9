"""What a data set looks like before anything is trained: figures, findings with what to do, pictures. No model is needed."""
