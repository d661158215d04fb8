target "default" {
  args = { A = "$${X} <b> & %%{y}" }
  labels = { a = "$${X}" }
  dockerfile-inline = "RUN echo $${X} > y"
}
