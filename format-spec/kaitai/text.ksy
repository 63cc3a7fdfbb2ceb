meta:
  id: text
  title: A varint length and as many octets of UTF-8
  imports: [varint]
seq:
  - id: len
    type: varint
  - id: value
    type: str
    encoding: UTF-8
    size: len.value
