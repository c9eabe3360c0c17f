// OpenAI's own package.

import OpenAI from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { ABOUT_CITY, ABOUT_IMAGE, City, QUESTION, Thermometer, serve } from './common.mjs'

const client = (target) => new OpenAI({ baseURL: target.base_url, apiKey: target.key })
const user = (content) => [{ role: 'user', content }]
const TOOL = {
  name: 'temperature',
  description: 'The temperature in a city',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
}

await serve({
  async plain(target) {
    const made = await client(target).chat.completions.create({ model: target.model, messages: user(QUESTION) })
    return made.choices[0].message.content
  },
  async stream(target) {
    const pieces = []
    const made = client(target).chat.completions.stream({ model: target.model, messages: user(QUESTION) })
    made.on('content', (delta) => pieces.push(delta))
    await made.finalChatCompletion()
    return pieces
  },
  async tools(target) {
    const tool = new Thermometer()
    const runner = client(target).chat.completions.runTools({
      model: target.model,
      messages: user(QUESTION),
      tools: [
        { type: 'function', function: { ...TOOL, parse: JSON.parse, function: ({ city }) => tool.temperature(city) } },
      ],
    })
    return [await runner.finalContent(), tool.cities]
  },
  async tools_streamed(target) {
    const tool = new Thermometer()
    const runner = client(target).chat.completions.runTools({
      model: target.model,
      stream: true,
      messages: user(QUESTION),
      tools: [
        { type: 'function', function: { ...TOOL, parse: JSON.parse, function: ({ city }) => tool.temperature(city) } },
      ],
    })
    return [await runner.finalContent(), tool.cities]
  },
  async structured(target) {
    const made = await client(target).chat.completions.parse({
      model: target.model,
      messages: user(ABOUT_CITY),
      response_format: zodResponseFormat(City, 'city'),
    })
    return made.choices[0].message.parsed
  },
  async image(target) {
    const url = `data:image/png;base64,${target.image}`
    const parts = [{ type: 'text', text: ABOUT_IMAGE }, { type: 'image_url', image_url: { url } }]
    const made = await client(target).chat.completions.create({ model: target.model, messages: user(parts) })
    return made.choices[0].message.content
  },
})
