"""The only place that renders text for people: zh-CN and en."""
