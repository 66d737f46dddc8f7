"""The typeface that printed papers are set in: one weight of Noto Sans CJK SC, cut to Chinese, under the OFL."""
