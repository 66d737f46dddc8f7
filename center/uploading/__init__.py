"""Detail travels in time slices (分时间片上传): which windows are open, who may send how much, how far everybody is."""
