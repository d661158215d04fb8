FROM scratch
RUN <<EOF
#!/usr/bin/python3
print(1)
EOF
