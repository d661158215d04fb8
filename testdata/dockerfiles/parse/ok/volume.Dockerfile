FROM scratch
VOLUME /a /b
VOLUME ["/c d", " /e "]
VOLUME [ /f
