meta:
  id: wrapped_key
  title: A data key under a customer key
  imports: [octets, text]
seq:
  - id: version
    contents: [1]
  - id: provider
    type: text
  - id: key_id
    type: text
  - id: wrapped
    type: octets
