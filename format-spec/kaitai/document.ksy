meta:
  id: document
  title: A document of a pool or of the store
  imports: [octets, text]
seq:
  - id: name
    type: text
  - id: content
    type: octets
